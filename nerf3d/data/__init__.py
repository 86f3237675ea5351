"""What is given: photographs with poses."""
