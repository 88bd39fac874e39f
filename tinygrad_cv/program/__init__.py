"""`compile`: a step recorded as a program of arrays, planned, fused and replayed.

`instructions.py` is what a program consists of. The arrays that note what is done to them are in
`backend/recording.py`.
"""
