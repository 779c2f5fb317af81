"""Writers of the official download layouts, one file per dataset, read back by ``stablemtl.data``.

Each takes physical values as arrays, and the dataset's own folder as ``root``. Files are written beside their
place and renamed. ``rendered`` and ``benchmarks`` turn the generator's scenes into such arrays.
"""
