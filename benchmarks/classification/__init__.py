"""Studies of a recipe for text classification: its ingredients, its learning curve, and its calibration."""
