"""A small world with a ground truth: objects whose shape, colours and name are known, seen from anywhere.

It is what the embedded prior learned from and what text-to-3D is measured against. z points up, an object's front looks
towards -y, and every scene fits into the ball of radius 1 around the origin.
"""
