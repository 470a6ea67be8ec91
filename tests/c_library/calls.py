"""Calls of the C library with tensors."""

import ctypes

import torch

KINDS = {"tanh": 0, "relu": 1, "lstm": 2, "gru": 3}
OK, ARGUMENT, FILE, FORMAT, MISSING, UNSUPPORTED, MEMORY = range(7)


class Refused(Exception):
    """Status that is not OK, with the text of the library."""

    def __init__(self, library, status):
        super().__init__(library.se_last_error().decode(errors="replace"))
        self.status = status


def checked(library, status):
    if status != OK:
        raise Refused(library, status)


class Opened:
    """Open file of the C library."""

    def __init__(self, library, path):
        self.library, self.pointer = library, ctypes.c_void_p()
        checked(library, library.se_open(str(path).encode(), ctypes.byref(self.pointer)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.se_close(self.pointer)


class Network:
    """Recurrent network or linear layer of the C library."""

    def __init__(self, library, path, name, kind, inputs=0):
        self.library, self.pointer, self.kind = library, ctypes.c_void_p(), kind
        self.free = library.se_linear_free if kind == "linear" else library.se_recurrent_free
        with Opened(library, path) as file:
            arguments = [file.pointer, name.encode(), inputs, ctypes.byref(self.pointer)]
            if kind == "linear":
                status = library.se_linear_load(*arguments)
            else:
                arguments.insert(2, KINDS.get(kind, kind))
                status = library.se_recurrent_load(*arguments)
            checked(library, status)

    def __del__(self):
        if self.pointer:
            self.free(self.pointer)

    def __call__(self, x, h=None, c=None):
        """Return y of a sequence; h and c are replaced by the last states."""
        x = x.contiguous()
        hidden = self.library.se_recurrent_hidden_size(self.pointer)
        y = torch.full((*x.shape[:2], hidden), torch.nan)
        given = [None if each is None else each.data_ptr() for each in (h, c)]
        sizes = x.shape[0], x.shape[1]
        checked(
            self.library,
            self.library.se_recurrent_forward(
                self.pointer, x.data_ptr(), *sizes, *given, y.data_ptr()
            ),
        )
        return y

    def step(self, x, h, c=None):
        y = torch.full((x.shape[0], h.shape[-1]), torch.nan)
        given = [None if each is None else each.data_ptr() for each in (h, c)]
        status = self.library.se_recurrent_step(
            self.pointer, x.data_ptr(), x.shape[0], *given, y.data_ptr()
        )
        checked(self.library, status)
        return y

    def linear(self, x, outputs):
        y = torch.full((x.shape[0], outputs), torch.nan)
        status = self.library.se_linear_forward(
            self.pointer, x.data_ptr(), x.shape[0], y.data_ptr()
        )
        checked(self.library, status)
        return y
