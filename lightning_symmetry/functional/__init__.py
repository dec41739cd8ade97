"""Pure tensor maths: no state, no Lightning; import from the modules, which are named by what they compute."""
