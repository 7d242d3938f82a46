"""What larder writes, Python's CacheControl reads, and the other way round: values and expiries, on one Redis."""

import os
import subprocess
import time
import unittest
from datetime import datetime, timedelta

import redis
from cachecontrol.caches.redis_cache import RedisCache

SOCKET = os.environ["LARDER_TEST_SOCKET"]
PEER = os.environ["LARDER_PEER"]
DATABASE = 5

VALUES = {
    b"http://example.org/": b"text",
    b"empty": b"",
    b"every byte": bytes(range(256)),
    b"line ends": b"a\r\nb\nc\r$3\r\nfoo\r\n",
    b"long": b"0123456789" * 200_000,
    "schlüssel €".encode(): "wert €".encode(),
    b"\x00\xff\r\n*?[a]\\": b"\x00",
    b"": b"value of the empty key",
}


class Peer:
    """larder, in a process of its own."""

    def __init__(self, prefix=""):
        self.arguments = [PEER, f"unix://{SOCKET}?db={DATABASE}&command_timeout=20s", prefix]

    def get(self, key):
        done = subprocess.run([*self.arguments, "get", key.hex()], stdout=subprocess.PIPE)
        if done.returncode == 3:
            return None
        done.check_returncode()
        return done.stdout

    def set(self, key, value, *expiry):
        subprocess.run([*self.arguments, "set", key.hex(), *map(str, expiry)], input=value, check=True)


class CacheControlTest(unittest.TestCase):
    def setUp(self):
        self.redis = redis.Redis(unix_socket_path=SOCKET, db=DATABASE)
        self.redis.flushdb()
        self.addCleanup(self.redis.close)
        self.addCleanup(self.redis.flushdb)
        self.theirs = RedisCache(self.redis)
        self.ours = Peer()

    def assert_expires_in(self, seconds, key):
        left = self.redis.pttl(key)
        self.assertLessEqual(left, seconds * 1000)
        self.assertGreater(left, (seconds - 20) * 1000)

    def test_cachecontrol_reads_what_larder_wrote(self):
        for key, value in VALUES.items():
            self.ours.set(key, value)
            self.assertEqual(self.theirs.get(key), value)
            self.assertEqual(self.redis.pttl(key), -1)

    def test_larder_reads_what_cachecontrol_wrote(self):
        for key, value in VALUES.items():
            self.theirs.set(key, value)
            self.assertEqual(self.ours.get(key), value)
        self.assertIsNone(self.ours.get(b"absent"))
        self.theirs.delete(b"long")
        self.assertIsNone(self.ours.get(b"long"))

    def test_expiries_of_larder(self):
        self.ours.set(b"seconds", b"1", 100)
        self.ours.set(b"deadline", b"2", f"@{int(time.time()) + 1000}")
        self.assert_expires_in(100, b"seconds")
        self.assert_expires_in(1000, b"deadline")
        self.assertEqual(self.theirs.get(b"seconds"), b"1")
        self.assertEqual(self.theirs.get(b"deadline"), b"2")
        self.ours.set(b"seconds", b"3")
        self.assertEqual(self.redis.pttl(b"seconds"), -1)
        self.ours.set(b"deadline", b"4", f"@{int(time.time()) - 1}")
        self.assertIsNone(self.theirs.get(b"deadline"))
        self.ours.set(b"seconds", b"5", 0)
        self.assertIsNone(self.theirs.get(b"seconds"))

    def test_expiries_of_cachecontrol(self):
        self.theirs.set(b"seconds", b"1", 100)
        self.theirs.set(b"deadline", b"2", datetime.utcnow() + timedelta(seconds=1000))
        self.assert_expires_in(100, b"seconds")
        self.assert_expires_in(1000, b"deadline")
        self.assertEqual(self.ours.get(b"seconds"), b"1")
        self.assertEqual(self.ours.get(b"deadline"), b"2")
        self.ours.set(b"seconds", b"3", 500)
        self.assert_expires_in(500, b"seconds")
        self.theirs.set(b"seconds", b"4")
        self.assertEqual(self.ours.get(b"seconds"), b"4")
        self.assertEqual(self.redis.pttl(b"seconds"), -1)

    def test_a_prefix_stands_before_the_key(self):
        prefixed = Peer("a*b:")
        prefixed.set(b"key", b"ours")
        self.assertEqual(self.theirs.get(b"a*b:key"), b"ours")
        self.theirs.set(b"a*b:key", b"theirs")
        self.assertEqual(prefixed.get(b"key"), b"theirs")


if __name__ == "__main__":
    unittest.main()
