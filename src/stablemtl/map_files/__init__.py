"""The files that maps are written to: which there are, what each holds, and what is said beside them.

``formats``  names of the formats, and which map each applies to
``one_map``  one map to one file
``layers``   several maps as the layers of one OpenEXR file
``strips``   an OpenEXR file, a few rows at a time
``palette``  class ids as a PNG with a palette
``sidecar``  ``maps.json``, which says what the other files of a folder mean
``folder``   all maps of a prediction to a folder
``reading``  and back
"""
