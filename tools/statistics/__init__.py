"""The one home of intervals, tests and agreement: pure functions of numbers, each checked against another library."""
