"""A web page whose visitors talk to an agent over a line of 6 kbps: FastRTC in front, packets behind.

python demos/websocket_agent.py
python demos/fastrtc_line.py ws://127.0.0.1:8000/talk
"""

import sys

import websockets
from fastrtc import Stream

from streamcodec.adapters.fastrtc import CodedLine

if __name__ == "__main__":
    url = sys.argv[1]
    line = CodedLine(lambda: websockets.connect(url), bitrate_bps=6_000)
    Stream(line, modality="audio", mode="send-receive").ui.launch()
