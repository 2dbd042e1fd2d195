"""Whole proxies under load: the same work, the same machine, the same minute."""
