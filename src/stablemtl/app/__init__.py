"""The web page of ``stablemtl app``: layout in ``page``, what a click does in ``prediction``."""
