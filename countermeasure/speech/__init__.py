"""Where recordings are and what is in them: audio files, resampling, silence."""
