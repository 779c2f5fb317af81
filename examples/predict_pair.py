"""Seven maps of two frames: ``python examples/predict_pair.py frame1.png frame2.png maps/``."""

import sys

from stablemtl import StableMTLPipeline

image, image_next, folder = sys.argv[1:4]

pipe = StableMTLPipeline.from_pretrained("nano")  # or a folder, or a hub id
maps = pipe(image, image_next)  # all tasks; tasks=["depth", "normal"] costs less

for name, prediction in maps.items():
    print(f"{name}: {prediction.values.shape} {prediction.unit}, {prediction.range_text}")
maps.save(folder)  # pictures, values, contact sheet
