"""Every mutation is one of the code as it is, and names tests that there are."""

from exhaustive.mutations import MUTATIONS, ROOT


def test_every_mutation_applies():
    for mutation in MUTATIONS:
        assert mutation.path(ROOT).read_text().count(mutation.old) == 1, mutation
        assert all((ROOT / "tests" / name).exists() for name in mutation.tests.split()), mutation
