"""The four word language models of Selfish-RNN at a small size."""

from sparse_engine.lab.networks import LanguageNetwork

TIED = {"hidden": 14, "tied": True, "locked": True, "output_dropout": 0.2}
PENALTIES = {"activation_penalty": 2.0, "slowness_penalty": 1.0, "link_dropout": 0.2}

#: Each with every kind of dropout that its publication has.
SMALL = {
    "lstm": LanguageNetwork(
        embedding=12, hidden=14, input_dropout=0.2, between_dropout=0.2, output_dropout=0.2
    ),
    "rhn": LanguageNetwork(
        **TIED,
        cell="rhn",
        cell_options={"recurrence_depth": 3, "coupled": True, "recurrent_dropout": 0.2},
        embedding=14,
        layers=1,
        word_dropout=0.2,
        input_dropout=0.2,
    ),
    "on-lstm": LanguageNetwork(
        **TIED,
        **PENALTIES,
        cell="on_lstm",
        cell_options={"chunk_size": 2},
        embedding=12,
        last=12,
        layers=3,
        word_dropout=0.1,
        input_dropout=0.2,
        between_dropout=0.2,
    ),
    "mixture": LanguageNetwork(
        **TIED,
        **PENALTIES,
        embedding=12,
        last=10,
        layers=3,
        experts=3,
        expert_dropout=0.2,
        word_dropout=0.1,
    ),
}
