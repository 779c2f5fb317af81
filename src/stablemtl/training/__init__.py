"""Training: the codec, stage 1 (one UNet for all tasks), stage 2 (a main UNet with task attention)."""
