"""What really ran, whatever it is made of: every operator is counted, allowed as free, or refused by its name.

A MAC is one multiplication and one addition. A "product" is one element-wise multiplication, division or smooth
function: no MAC by the convention of the published figures, but counted, since anything can be spelled with them.
"""
