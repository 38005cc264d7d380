"""Trainer classes that nnU-Net v2 finds by name where ``nnUNet_extTrainer`` points to this folder."""
