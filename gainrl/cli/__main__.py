"""`python -m gainrl.cli` is the `gainrl` command; accelerate starts it so."""

from gainrl.cli import main

if __name__ == "__main__":
    main()
