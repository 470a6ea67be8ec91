"""The word language models of Selfish-RNN: sizes, ties, dropout, penalties and carried states."""

import pytest
import torch
from language_networks import SMALL
from testing import refusals
from torch import nn
from torch.testing import assert_close

from sparse_engine.lab.networks import LanguageNetwork
from sparse_engine.models import LanguageModel
from sparse_engine.nn import SparseWeight

WORDS = 40
models = pytest.mark.parametrize("network", SMALL.values(), ids=SMALL)


def build(network, words=WORDS, seed=1):
    return network.language_model(words, generator=torch.Generator().manual_seed(seed))


def sparse_weights(model):
    return [module for module in model.modules() if isinstance(module, SparseWeight)]


def random_words(steps=9, batch=3):
    return torch.randint(WORDS, (steps, batch))


#: The positions of all matrices, which Selfish-RNN masks; of the mixture, those of Yang et al.
PUBLISHED = {
    "lstm": (LanguageNetwork(embedding=1500, hidden=1500), 2 * 10_000 * 1500 + 4 * 6000 * 1500),
    "rhn": (
        LanguageNetwork(
            cell="rhn",
            cell_options={"recurrence_depth": 10},
            embedding=830,
            hidden=830,
            layers=1,
            tied=True,
        ),
        10_000 * 830 + 11 * 1660 * 830,
    ),
    "on-lstm": (
        LanguageNetwork(
            cell="on_lstm",
            cell_options={"chunk_size": 10},
            embedding=400,
            hidden=1150,
            last=400,
            layers=3,
            tied=True,
        ),
        10_000 * 400 + 4830 * (400 + 3 * 1150) + 1680 * (1150 + 400),
    ),
    "mixture": (
        LanguageNetwork(embedding=280, hidden=960, last=620, layers=3, tied=True, experts=15),
        10_000 * 280 + 3840 * (280 + 3 * 960) + 2480 * (960 + 620) + 620 * 15 + 620 * 15 * 280,
    ),
}


@pytest.mark.parametrize(("network", "positions"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_sizes(network, positions):
    """All matrices are sparse, each of the same density, and a tied one is one weight."""
    model = network.__class__(**{**vars(network), "density": 0.01})
    weights = sparse_weights(build(model, words=10_000))
    assert sum(weight.shape[0] * weight.shape[1] for weight in weights) == positions
    for weight in weights:
        assert weight.nnz == round(0.01 * weight.shape[0] * weight.shape[1])


@models
def test_text_in_two_parts_is_the_text_at_once(network):
    model, words = build(network).eval(), random_words()
    at_once, end = model(words)
    first, state = model(words[:4])
    second, last = model(words[4:], state)
    assert_close(torch.cat([first, second]), at_once)
    for one, other in zip(last, end, strict=True):
        assert_close(one, other)
    assert not torch.allclose(model(words[4:])[0], second)
    assert_close(at_once.exp().sum(-1), torch.ones(9, 3))


@models
def test_loss_is_the_mean_over_words_in_evaluation(network):
    model, words = build(network).eval(), random_words()
    log_p, state = model(words[:-1])
    picked = log_p.gather(-1, words[1:].unsqueeze(-1))
    loss, end = model.loss(words[:-1], words[1:])
    assert_close(loss, -picked.mean())
    for one, other in zip(end, state, strict=True):
        assert torch.equal(one, other)


@models
def test_dropout_follows_the_seed_and_only_training_has_it(network):
    model, words = build(network), random_words()

    def loss(seed):
        torch.manual_seed(seed)
        return model.loss(words[:-1], words[1:])[0]

    assert loss(1) == loss(1) != loss(2)
    model.eval()
    assert loss(1) == loss(2)


def test_penalties():
    """The penalties by the equations, with a mask of dropped outputs that is the same each time."""
    network = LanguageNetwork(
        embedding=6, hidden=6, output_dropout=0.5, activation_penalty=2.0, slowness_penalty=3.0
    )
    model, words = build(network), random_words()
    torch.manual_seed(1)
    loss, _ = model.loss(words[:-1], words[1:])
    torch.manual_seed(1)
    outputs, dropped, _ = model.run(words[:-1])
    log_p = model.log_probabilities(dropped)
    expected = nn.functional.nll_loss(log_p.flatten(0, 1), words[1:].flatten())
    expected += 2 * dropped.square().mean() + 3 * (outputs[1:] - outputs[:-1]).square().mean()
    assert_close(loss, expected)
    one = model.loss(words[:1], words[1:2])[0]
    assert one.isfinite(), "a single word has no successive outputs"


@pytest.mark.parametrize("dense", ["words", "everything"])
def test_dense_parts_are_those_of_torch(dense):
    network = LanguageNetwork(embedding=12, hidden=12, dense=dense, tied=True)
    model = build(network)
    kept = sparse_weights(model)
    assert isinstance(model.decoder, nn.Linear)
    assert model.embedding.embedding.weight is model.decoder.weight
    assert model.decoder.weight.abs().max() <= 0.1 and not model.decoder.bias.any()
    assert len(kept) == (4 if dense == "words" else 0)
    if dense == "everything":
        assert [type(layer) for layer in model.layers] == [nn.LSTM] * 2
    words = random_words()
    first, state = model(words[:4])
    assert_close(torch.cat([first, model(words[4:], state)[0]]), model(words)[0])


def test_model_at_full_density_computes_what_torch_computes():
    sparse = build(LanguageNetwork(embedding=12, hidden=12, density=1.0))
    dense = LanguageModel(
        nn.Embedding.from_pretrained(sparse.embedding.embedding.weight.to_dense()),
        [layer.to_dense() for layer in sparse.layers],
        sparse.decoder.to_dense(),
    )
    words = random_words()
    assert_close(sparse(words)[0], dense(words)[0])


@pytest.mark.parametrize(("settings", "bound"), [({}, 0.1), ({"word_bound": 0.2}, 0.2)])
def test_initial_words_have_the_bound(settings, bound):
    model = build(LanguageNetwork(embedding=30, hidden=30, **settings))
    for weight in (model.embedding.embedding.weight, model.decoder.weight):
        assert 0.99 * bound < weight.values.abs().max() <= bound
        assert abs(weight.values.mean()) < 0.2 * bound
    assert not model.decoder.bias.any()


def of(**options):
    return lambda: build(LanguageNetwork(**options))


test_descriptions_that_make_no_model = refusals(
    ("embedding of at least 1, found 0", of(embedding=0)),
    ("last of at least 1, found 0", of(last=0)),
    ("layers of at least 1, found 0", of(layers=0)),
    ("experts of at least 1, found -1", of(experts=-1)),
    (r"size of the words' vectors, 8, .* tied, found 650", of(tied=True, embedding=8)),
    ("one of rnn, lstm, gru, .* found mgu", of(dense="everything", cell="mgu")),
    ("density", of(density=0.0)),
    ("1.5", of(output_dropout=1.5)),
    ("fewer than 2\\^31 links", of(hidden=2**20, density=1.0)),
)
