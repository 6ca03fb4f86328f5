"""The server's own /metrics, read in a thread: what it counted since the last reading."""

from infermeter.scrape.recognition import check_metrics_url
from infermeter.scrape.scraper import Scraper

__all__ = ["Scraper", "check_metrics_url"]
