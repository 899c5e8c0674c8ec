"""`python -m proxy.cli`: the command, where the console script may not be on PATH."""

from proxy.cli import main

main()
