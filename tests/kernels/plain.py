"""Operations on patterns in plain torch, which the native ones are held against."""

import torch


def smallest(scores, count, *, above=None):
    order = scores.argsort(stable=True)
    if above is not None:
        order = order[scores[order] > above]
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, order[:count], True)


def largest(scores, count, *, below=None):
    return smallest(-scores, count, above=None if below is None else -below)


def nearest_zero(values, share):
    chosen = values == 0
    for side in (values, -values):
        chosen |= smallest(side, int(share * int((side > 0).sum())), above=0.0)
    return chosen


def carry(tensor, slot_map, size):
    moved = tensor.new_zeros(size)
    moved[slot_map[slot_map >= 0].long()] = tensor[slot_map >= 0]
    return moved


def scan_absent(block, links, *, first_row=0, above=-1.0):
    large = ~(block.abs() <= above).flatten()
    own = links.positions() - first_row * links.in_features
    large[own[(own >= 0) & (own < large.numel())]] = False
    positions = large.nonzero().squeeze(1)
    return block.abs().flatten()[positions], positions + first_row * links.in_features


def ch3_l3(links):
    """All positions without a link of scores above 0, and these; 0 ** -0.5 is read as 0."""
    a = dense(links)
    p, q = a.sum(1) - a @ a.T, a.sum(0) - a.T @ a
    p, q = (counts.rsqrt().nan_to_num(posinf=0) for counts in (p, q))
    return absent(links, torch.einsum("ri,ic,ij,rj,cj->rc", p, a, a, a, q))


def ch2_l3n(links):
    """Likewise; divisions by 0 are read as 0."""
    a = dense(links)
    p, q = (
        ((inside > 0) * (1 + inside) / (degrees - inside)).nan_to_num(posinf=0)
        for inside, degrees in ((a @ a.T, a.sum(1)), (a.T @ a, a.sum(0)))
    )
    return absent(links, p @ a + a @ q.T)


def dense(links):
    a = torch.zeros(len(links.crow) - 1, links.in_features, dtype=torch.float64)
    a.view(-1)[links.positions()] = 1
    return a


def absent(links, scores):
    scores = scores.flatten()
    scores[links.positions()] = 0
    positions = scores.nonzero().squeeze(1)
    return positions, scores[positions]
