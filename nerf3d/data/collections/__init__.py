"""Many objects, each in a few posed pictures: what a generative field learns from.

A collection keeps the world of its files, whichever way up that is. Of the built-in worlds z points up and -y is the front.
"""
