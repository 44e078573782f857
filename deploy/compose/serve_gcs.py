"""Serves the imitation of Google Cloud Storage that docker-compose.yml exports into, on every interface."""

import sys
import threading

from gcs import gcs_server

with gcs_server(host="0.0.0.0", port=int(sys.argv[1])):
    threading.Event().wait()
