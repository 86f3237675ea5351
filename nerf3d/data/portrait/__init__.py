"""Portrait films: where the face is, how the head is held, what is head, torso and background, the folder of it all."""
