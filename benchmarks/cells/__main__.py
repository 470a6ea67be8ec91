"""Prints the names of all families of contestants but "rnn", which has a file of its own."""

from benchmarks.cells import FAMILIES

if __name__ == "__main__":
    print(*(name for name in FAMILIES if name != "rnn"), sep="\n")
