"""The four word language models of Selfish-RNN at a small size."""

from sparse_engine.lab.networks import LanguageNetwork

#: Each with every kind of dropout that its publication has.
SMALL = {
    "lstm": LanguageNetwork(
        embedding=12, hidden=14, input_dropout=0.2, between_dropout=0.2, output_dropout=0.2
    ),
    "rhn": LanguageNetwork(
        cell="rhn",
        cell_options={"recurrence_depth": 3, "coupled": True, "recurrent_dropout": 0.2},
        embedding=14,
        hidden=14,
        layers=1,
        tied=True,
        locked=True,
        word_dropout=0.2,
        input_dropout=0.2,
        output_dropout=0.2,
    ),
    "on-lstm": LanguageNetwork(
        cell="on_lstm",
        cell_options={"chunk_size": 2},
        embedding=12,
        hidden=14,
        last=12,
        layers=3,
        tied=True,
        locked=True,
        word_dropout=0.1,
        input_dropout=0.2,
        between_dropout=0.2,
        output_dropout=0.2,
        link_dropout=0.2,
        activation_penalty=2.0,
        slowness_penalty=1.0,
    ),
    "mixture": LanguageNetwork(
        embedding=12,
        hidden=14,
        last=10,
        layers=3,
        tied=True,
        locked=True,
        experts=3,
        expert_dropout=0.2,
        link_dropout=0.2,
        word_dropout=0.1,
        output_dropout=0.2,
        activation_penalty=2.0,
        slowness_penalty=1.0,
    ),
}
