"""`make bench`: what admission does a second and a core, beside stock Faust and quixstreams, and what it promises."""
