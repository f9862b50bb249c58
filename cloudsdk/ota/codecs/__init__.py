"""Codecs of the `.rbl` body. Every decoder is bounded: bad input raises `CodecError` and nothing else."""
