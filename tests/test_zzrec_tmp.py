import sys
def test_a():
    import tests.venue_support
    print("LIMIT", sys.getrecursionlimit())
