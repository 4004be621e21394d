"""What two or more surfaces use. It imports no surface, and no surface imports another: a test holds both."""
