"""Log distances as the selector ``diverse_topk`` compares them, on a CPU and in its GPU kernel alike."""

import math

NEAR = 1e-3  # distances below are all the same
FAR = math.log(2.0)  # log distance while nothing is picked
ABSENT = -1e30  # score of a token that is not there: below any, and yet above that of one picked already
