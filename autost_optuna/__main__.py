"""`python -m autost_optuna`: the command line."""

from autost_optuna.cli import main

if __name__ == "__main__":
    main(prog_name="autost-optuna")
