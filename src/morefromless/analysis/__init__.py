"""What encoders learned: where their layers agree, where they look, what they get right."""
