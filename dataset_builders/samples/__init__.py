"""The sample corpora: an invented shop (`catalog`), what its customers write (`text`), and one module per raw format."""
