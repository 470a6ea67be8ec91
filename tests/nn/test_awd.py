"""The pieces of a word model, and the blocks that rules name."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.testing import assert_close

from sparse_engine.nn import (
    CELLS,
    DropConnect,
    EmbeddingDropout,
    GroupedWeight,
    LockedDropout,
    MixtureOfSoftmaxes,
    SparseEmbedding,
    SparseLinear,
    SparseLSTM,
    SparseRNN,
    SparseWeight,
)

RECURRENT = {name: entry for name, entry in CELLS.items() if entry.cell.gradient_growth}


def sparse_weights(module):
    return {name: own for name, own in module.named_modules() if isinstance(own, SparseWeight)}


@pytest.mark.parametrize("cell", RECURRENT)
def test_dropped_links_are_absent_for_a_whole_sequence(cell):
    network = RECURRENT[cell](4, 14, 2, density=0.4, dtype=torch.float64)
    module, x = DropConnect(network, 0.3), torch.randn(5, 3, 4, dtype=torch.float64)
    names = [f"{name}.values" for name in sparse_weights(network) if "hh" in name]
    assert [f"{name}.values" for name in module.weights] == names
    torch.manual_seed(1)
    masks = [nn.functional.dropout(torch.ones_like(network.get_parameter(n)), 0.3) for n in names]
    other = copy.deepcopy(network)
    for name, mask in zip(names, masks, strict=True):
        other.get_parameter(name).data.mul_(mask)
    torch.manual_seed(1)
    y, expected = module(x)[0], other(x)[0]
    assert torch.equal(y, expected)
    y.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in network.named_parameters():
        wanted = other.get_parameter(name).grad
        if name in names:
            wanted = wanted * masks[names.index(name)]
        assert_close(parameter.grad, wanted)
    assert not torch.equal(module(x)[0], y)
    assert torch.equal(module.eval()(x)[0], network(x)[0])


def test_the_weights_to_drop_are_chosen_by_name():
    model = nn.Sequential(SparseLinear(5, 5, density=0.9), SparseLinear(5, 5, density=0.9))
    module, x = DropConnect(model, 1.0, weights=["1.weight"]), torch.randn(3, 5)
    assert torch.equal(module(x), model[1].bias.expand(3, 5))
    assert module.weights == ["1.weight"]
    known = r"some of \['0.weight', '1.weight'\]"
    for names in (None, [], ["0.weight", "2.weight"]):
        with pytest.raises(ValueError, match=rf"names of sparse weights, {known}, found \["):
            DropConnect(model, weights=names)
    wiring = model[0].weight
    model[0].weight = GroupedWeight(wiring.values, wiring.pattern)
    with pytest.raises(TypeError, match=r"are a Parameter, found 0\.weight: GroupedWeight"):
        DropConnect(model, weights=["0.weight"])


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_same_links_are_dropped_where_steps_are_computed_again(cell):
    network = RECURRENT[cell](4, 14, 2, density=0.4, dtype=torch.float64, bidirectional=True)
    module, x = DropConnect(network), torch.randn(7, 3, 4, dtype=torch.float64)

    def gradients(every):
        network.checkpoint_every = every
        torch.manual_seed(1)
        first, later = module(x)[0], module(x)[0]
        loss = first.square().sum() + later.sin().sum()
        return torch.autograd.grad(loss, [*network.parameters()])

    for own, other in zip(gradients(2), gradients(None), strict=True):
        assert_close(own, other, rtol=1e-10, atol=1e-10)


def test_recurrent_weights_are_those_that_cells_name():
    """A weight's name says nothing: a module that is no cell may call its weight weight_hh."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight_hh_l0 = SparseWeight.erdos_renyi(4, 4, density=0.5)

    class Renamed(SparseRNN):
        def recurrent_weights(self, layer):
            return [self.weight_ih_l0]

    model = nn.ModuleList([Named(), Renamed(4, 4, density=0.5, input_density=0.5)])
    assert DropConnect(model).weights == ["1.weight_ih_l0"]
    with pytest.raises(ValueError, match="sparse weights"):
        DropConnect(Named())


@pytest.mark.parametrize("way", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies(way):
    network = SparseLSTM(4, 12, density=0.4)
    head = MixtureOfSoftmaxes(
        nn.Linear(12, 2), nn.Linear(12, 8), SparseLinear(4, 9, density=0.5), dropout=LockedDropout()
    )
    embedding = EmbeddingDropout(SparseEmbedding(head.decoder.weight))
    model = nn.ModuleList([embedding, DropConnect(network), head]).eval()
    other = way(model)
    words = torch.randint(9, (5, 3))
    for one in (model, other):
        assert torch.equal(one[2](one[1](one[0](words))[0]), model[2](network(model[0](words))[0]))
    assert other[0].embedding.weight is other[2].decoder.weight


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_mask_for_all_steps(batch_first):
    dropout, x = LockedDropout(0.25, batch_first=batch_first), torch.rand(6, 40, 50) + 0.1
    factor = dropout(x) / x
    steps = 1 if batch_first else 0
    first = factor.select(steps, 0)
    assert torch.equal(factor.round(decimals=3).unique(), torch.tensor([0, 1.333]))
    assert_close(factor, first.unsqueeze(steps).expand_as(factor))
    assert not torch.equal(first[0], first[1])
    share = float((first == 0).double().mean())
    # Of at least 300 draws: three standard deviations.
    assert abs(share - 0.25) < 3 * math.sqrt(0.25 * 0.75 / 300)
    single = dropout(x[:, 0]) / x[:, 0]
    assert_close(single, single[:1].expand_as(single))
    assert dropout.eval()(x) is x


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_words_are_dropped_wherever_they_occur(kind):
    own = nn.Embedding(50, 4)
    if kind == "sparse":
        own = SparseEmbedding(SparseWeight.from_dense(own.weight))
    dropped = EmbeddingDropout(own, 0.3)
    words = torch.randint(50, (20, 30))
    factor = (dropped(words) / own(words)).detach()
    assert torch.equal(factor.round(decimals=3).unique(), torch.tensor([0, 1.429]))
    gone = words[(factor == 0).all(-1)]
    assert torch.equal(torch.isin(words, gone), (factor == 0).any(-1))
    assert 3 < gone.unique().numel() < 30
    assert torch.equal(dropped.eval()(words), own(words))


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (0, 2)])
@pytest.mark.parametrize("density", [0.01, 0.4, 1.0])
def test_an_embedding_looks_rows_up(shape, density):
    weight = SparseWeight.erdos_renyi(11, 6, density=density, dtype=torch.float64)
    embedding, words = SparseEmbedding(weight), torch.randint(11, shape)
    assert (embedding.num_embeddings, embedding.embedding_dim) == (11, 6)
    dense = weight.to_dense().detach().requires_grad_()
    expected = nn.functional.embedding(words, dense)
    vectors = embedding(words)
    assert torch.equal(vectors, expected)
    weight.captured = [[]]
    upstream = torch.randn_like(expected)
    embedding(words).backward(upstream)
    expected.backward(upstream)
    assert_close(weight.values.grad, dense.grad[weight.rows(), weight.col_indices.long()])
    ((dy, x),) = weight.captured[0]
    assert_close(dy.T @ x, dense.grad)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_mixture_is_what_the_equation_says(sparse):
    layer = partial(SparseLinear, density=0.5) if sparse else nn.Linear
    prior, latent, decoder = (layer(*sizes).double() for sizes in [(7, 3), (7, 12), (4, 9)])
    head = MixtureOfSoftmaxes(prior, latent, decoder)
    x = torch.randn(5, 2, 7, dtype=torch.float64, requires_grad=True)
    experts = torch.tanh(latent(x)).view(5, 2, 3, 4)
    p = torch.einsum("tbk,tbkv->tbv", prior(x).softmax(-1), decoder(experts).softmax(-1))
    assert_close(head(x), p.log(), rtol=1e-12, atol=1e-12)
    assert_close(head(x).exp().sum(-1), torch.ones(5, 2).double())
    assert gradcheck(head, x)


def test_a_mixture_of_unlikely_words_stays_finite():
    head = MixtureOfSoftmaxes(nn.Linear(7, 3), nn.Linear(7, 12), nn.Linear(4, 9))
    head.decoder.bias.data[0] = -500
    log_p = head(torch.randn(5, 7))
    assert log_p.isfinite().all() and log_p[:, 0].max() < -400
    dropped = MixtureOfSoftmaxes(head.prior, head.latent, head.decoder, dropout=nn.Dropout(1.0))
    expected = head.decoder.bias.log_softmax(-1)
    assert_close(dropped(torch.randn(5, 7)), expected.expand(5, 9))


def test_blocks_of_a_mixture_that_do_not_fit():
    with pytest.raises(ValueError, match=r"latent of 3 x 4 outputs, .* found 11"):
        MixtureOfSoftmaxes(nn.Linear(7, 3), nn.Linear(7, 11), nn.Linear(4, 9))


#: Cell, options, and the blocks that its weights have.
NETWORKS = [
    ("rnn", {}, (6,)),
    ("lstm", {"proj_size": 3}, (6,) * 4),
    ("gru", {"bidirectional": True}, (6,) * 3),
    ("mgu", {}, (6,) * 2),
    ("rhn", {"recurrence_depth": 2}, (6,) * 2),
    ("rhn", {"recurrence_depth": 2, "coupled": False}, (6,) * 3),
    ("on_lstm", {"chunk_size": 3}, (2, 2, 6, 6, 6, 6)),
    *((cell, {}, (6,)) for cell in ("ctrnn", "rate_rnn", "neural_ode", "ltc")),
]
WAYS = {
    "made": lambda network: network,
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("cell", "options", "blocks"), NETWORKS)
def test_the_weights_of_every_network(cell, options, blocks, way):
    network = WAYS[way](CELLS[cell](4, 6, 2, density=0.5, input_density=0.5, **options))
    found = {n: m for n, m in network.named_modules() if isinstance(m, SparseWeight)}
    assert len(found) >= 4
    for own, weight in found.items():
        assert weight.blocks == ((3,) if own.startswith("weight_hr") else blocks), own
        assert not any("blocks" in key for key in weight.state_dict())


def test_other_weights():
    assert SparseLinear(4, 8, density=0.5).weight.blocks == (8,)
    lstm = SparseLSTM.from_dense(nn.LSTM(4, 6))
    assert lstm.weight_hh_l0.blocks == (6,) * 4
    old = lstm.weight_hh_l0
    lstm.weight_hh_l0 = GroupedWeight(old.values, old.pattern)
    assert lstm.weight_hh_l0.blocks == (6,) * 4


def test_blocks_of_ones_own():
    weight = SparseWeight.from_dense(torch.ones(5, 2))
    assert weight.blocks == (5,)
    weight.blocks = [2, 0, 3]
    assert weight.blocks == (2, 0, 3)
    for wrong in ([2, 2], [6, -1], [], 5 * [2]):
        with pytest.raises(ValueError, match=r"blocks that make the 5 rows .*, found \("):
            weight.blocks = wrong
    assert weight.blocks == (2, 0, 3)
