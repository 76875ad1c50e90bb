"""What verl loads: the trainer mode ``gainrl``, and the engine that reads the angle.

By the entry point ``verl.plugins`` where gainrl is installed beside verl, else by
``VERL_USE_EXTERNAL_MODULES=gainrl.verl.plugin``.
"""

from verl.trainer.ppo.v1 import register_trainer
from verl.workers.engine import EngineRegistry

from gainrl.verl.angle import AngleEngine
from gainrl.verl.settings import VENDOR
from gainrl.verl.trainer import ScheduledTrainer

register_trainer("gainrl")(ScheduledTrainer)
EngineRegistry.register("language_model", ["fsdp", "fsdp2"], ["cuda", "npu"], VENDOR)(AngleEngine)
