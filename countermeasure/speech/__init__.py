"""Audio files, resampling, and silence."""
