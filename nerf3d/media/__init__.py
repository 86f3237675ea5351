"""Films and sound: what a file holds and what is in it, and every film that is written. All of it through ffmpeg."""
