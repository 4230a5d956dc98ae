"""Where artifacts live: one module a registry behind the Protocol in `protocol`, and what sources resolve to there.

Only this package and `announce` talk to AWS. Importing `protocol` or `memory` loads no AWS library.
"""
