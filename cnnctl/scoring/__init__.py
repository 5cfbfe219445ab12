"""What a trained or exported net says of images, and how good that is."""
