"""Helpers of the tests that know nothing of taskconn: programs in processes of their own, and the wire to a server."""
