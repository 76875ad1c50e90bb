import re

import pytest

from gainrl.errors import InputError
from gainrl.models.text import bpe_tokenizer
from gainrl.models.tiny import tiny_tokenizer
from gainrl.prompts import Example, Prompt, encode_prompts, require_fit
from gainrl.templates import PLAIN_TEMPLATE

QUESTIONS = ["What is 12 + 3?", "Start at 40, then add 5.", "7"]


def encode(questions=QUESTIONS, prompt=None, tokenizer=None):
    prompt, tokenizer = prompt or Prompt(), tokenizer or tiny_tokenizer()
    return encode_prompts(tokenizer, [prompt.messages(q) for q in questions], [f"p{i}" for i in range(len(questions))])


def test_spans_hold_exactly_the_questions_tokens():
    tokenizer = tiny_tokenizer()
    for question, prompt in zip(QUESTIONS, encode(), strict=True):
        inside = prompt.ids[prompt.prefix_tokens : prompt.question_end]
        assert inside.tolist() == tokenizer(question, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(prompt.ids[prompt.question_end :]) == "<|end|> <|assistant|>"


def test_tokens_are_those_that_the_chat_template_gives():
    tokenizer = tiny_tokenizer()
    for question, prompt in zip(QUESTIONS, encode(), strict=True):
        rendered = tokenizer.apply_chat_template(
            Prompt().messages(question), add_generation_prompt=True, return_dict=True
        )
        assert prompt.ids.tolist() == rendered["input_ids"]


@pytest.mark.parametrize(
    "prompt", [Prompt(), Prompt(system=None), Prompt(example=None), Prompt(system=None, example=None)]
)
def test_the_prefix_is_the_same_for_all(prompt):
    encoded = encode(prompt=prompt)
    assert len({tuple(p.ids[: p.prefix_tokens]) for p in encoded}) == 1
    assert encoded[0].prefix_tokens >= 1


def test_a_question_that_repeats_the_prompts_words_is_found_in_its_place():
    question = Prompt().example.question
    (prompt,) = encode([question])
    assert len(prompt.ids) - prompt.question_end == 2


def test_the_hash_changes_with_any_word():
    others = [Prompt(system="x"), Prompt(example=None), Prompt(example=Example(question="1", answer="2"))]
    assert len({prompt.hash for prompt in [Prompt(), *others]}) == 4


def test_a_template_whose_prefix_depends_on_the_question_is_an_error():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<|system|>{{ messages[-1].content | length }} {{ messages[-1].content }}<|end|>"
    with pytest.raises(InputError, match="prompt of p0: the template must give the shared prefix"):
        encode(tokenizer=tokenizer)


def test_a_template_that_rewrites_the_question_is_an_error():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<|user|>{{ messages[-1].content | upper }}<|end|>"
    with pytest.raises(InputError, match="the question unchanged"):
        encode(tokenizer=tokenizer)


def test_conversations_with_different_prefixes_are_an_error():
    with pytest.raises(InputError, match="prompt of b: the template must give the shared prefix"):
        encode_prompts(tiny_tokenizer(), [Prompt().messages("1"), Prompt(system="What").messages("1")], ["a", "b"])


def test_a_token_across_the_boundary_is_an_error():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<|user|>st{{ messages[-1].content }}<|end|>"  # "step" is one word, and one token
    with pytest.raises(InputError, match="p0: one token spans the end of the prefix"):
        encode(["ep"], tokenizer=tokenizer)


def test_a_question_without_tokens_is_an_error():
    with pytest.raises(InputError, match="p0: the question has no token"):
        encode([" "])


def test_a_tokenizer_without_template_is_an_error():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        encode(tokenizer=tokenizer)


def test_too_long_prompts_are_named():
    encoded = encode()
    tokens = max(len(prompt.ids) for prompt in encoded)
    require_fit(encoded, ["a", "b", "c"], tokens)
    with pytest.raises(
        InputError, match=rf"prompt of b has {tokens} tokens.* room for {tokens - 1}, with 4 reserved for the comp"
    ):
        require_fit(encoded, ["a", "b", "c"], tokens + 3, 4)


def test_prompt_from_file(tmp_path):
    path = tmp_path / "prompt.json"
    path.write_text('{"system": "Answer.", "example": null}')
    assert Prompt.from_file(path) == Prompt(system="Answer.", example=None)
    path.write_text('{"sistem": "Answer."}')
    with pytest.raises(InputError, match=r"sistem: .*; valid: system, example"):
        Prompt.from_file(path)
    with pytest.raises(InputError, match="No such file"):
        Prompt.from_file(tmp_path / "none.json")
    for content in (
        b"",
        b"[" * 100_000,
        b'{"system": "\\ud800"}',
        '{"system": "é"}'.encode("latin-1"),
        b"[]",
        b'{"system": 3}',
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=path.name) as error:
            Prompt.from_file(path)
        assert "\n" not in str(error.value)


def test_the_plain_format_keeps_spans_apart_for_a_byte_level_tokenizer():
    tokenizer = bpe_tokenizer(["What is 2 + 2? Question: Answer:", Prompt().system, "4 \\boxed{4}"] * 3, 300)
    tokenizer.chat_template = PLAIN_TEMPLATE
    questions = ["What is 2 + 2?", "2 + 2", "$x$", "\\boxed{2}"]
    for question, one in zip(
        questions, encode_prompts(tokenizer, [Prompt().messages(q) for q in questions], questions), strict=True
    ):
        inside = one.ids[one.prefix_tokens : one.question_end].tolist()
        assert tokenizer.decode(inside) == question
        assert tokenizer.decode(one.ids[: one.prefix_tokens].tolist()).endswith("\\boxed{4}\n\nQuestion:\n")


def test_prompts_of_several_chunks_are_as_one_by_one(tiny, monkeypatch):
    conversations = [Prompt().messages(f"What is {n} + {n}?") for n in range(10)]
    names = list(map(str, range(10)))
    whole = encode_prompts(tiny.tokenizer, conversations, names)
    monkeypatch.setattr("gainrl.prompts._CHUNK", 3)
    for one, other in zip(whole, encode_prompts(tiny.tokenizer, conversations, names), strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert (one.prefix_tokens, one.question_tokens) == (other.prefix_tokens, other.question_tokens)


@pytest.mark.parametrize("token", ["<|end|>", "<|user|>", "<|pad|>"])
def test_a_control_token_in_a_question_or_in_the_prompt_is_an_error(token):
    with pytest.raises(
        InputError, match=f"prompt of p1: the question contains the model's control token '{re.escape(token)}'"
    ):
        encode(["1", f"What is 2?{token} 5"])
    for prompt in (Prompt(system=f"Reason {token}"), Prompt(example=Example(question=f"1 {token}", answer="2"))):
        with pytest.raises(InputError, match=r"the prompt's (system|user) message contains the model's control token"):
            encode(prompt=prompt)


def test_a_question_that_only_looks_like_a_control_token_is_text():
    tokenizer = bpe_tokenizer(["What is 2 + 2?", Prompt().system, "4 \\boxed{4}"] * 3, 300)
    questions = ["<|im_end", "< |im_end|>", "|im_start|", "unknown words"]
    encoded = encode(questions, tokenizer=tokenizer)
    for question, prompt in zip(questions, encoded, strict=True):
        assert tokenizer.decode(prompt.ids[prompt.prefix_tokens : prompt.question_end].tolist()) == question
    with pytest.raises(InputError, match=r"control token '<\|im_end\|>'"):
        encode(["a<|im_end|>"], tokenizer=tokenizer)


def test_half_of_a_surrogate_pair_is_an_error():
    with pytest.raises(InputError, match="prompt of p0: the question holds half of a surrogate pair"):
        encode(["What is \ud800 1?"])


def test_a_template_that_fails_on_a_prompt_is_an_error():
    tokenizer = tiny_tokenizer()
    fails_on_7 = "{% if '7' in messages[-1].content %}{{ raise_exception('no') }}{% endif %}"
    tokenizer.chat_template = fails_on_7 + tokenizer.chat_template
    with pytest.raises(InputError, match="the chat template of .* fails: TemplateError: no"):
        encode(["1", "7"], tokenizer=tokenizer)
