#!/usr/bin/env python3
"""PyTorch's time for YOLOv8n on this GPU, for comparison with fovea-bench-gpu: same network, input on the GPU to decoded
output on the GPU, by the GPU's clock, the median of many. Random weights, batch norm folded, channels last.

    bench/gpu/peers.py [--batches 1,8,32] [--precision fp16|fp32] [--without-compile]

Needs PyTorch with CUDA, and nothing else. The decoding (softmax of the boxes, sigmoid of the scores) is part of it here;
fovea-bench-gpu leaves it to postprocessing.
"""
import argparse

import torch
from torch import nn
from torch.nn import functional as F


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1, activation=True):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.activation = activation

    def forward(self, x):
        y = self.convolution(x)
        return F.silu(y) if self.activation else y


class Bottleneck(nn.Module):
    def __init__(self, channels, shortcut):
        super().__init__()
        self.first, self.second = Conv(channels, channels, 3), Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x):
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class C2f(nn.Module):
    def __init__(self, inputs, outputs, repeats=1, shortcut=False):
        super().__init__()
        half = outputs // 2
        self.open, self.close = Conv(inputs, outputs), Conv((2 + repeats) * half, outputs)
        self.blocks = nn.ModuleList(Bottleneck(half, shortcut) for _ in range(repeats))

    def forward(self, x):
        parts = list(self.open(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.close(torch.cat(parts, 1))


class Sppf(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.open, self.close = Conv(channels, channels // 2), Conv(channels * 2, channels)

    def forward(self, x):
        parts = [self.open(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.close(torch.cat(parts, 1))


class Detect(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        tower = lambda inputs, width, outputs: nn.Sequential(
            Conv(inputs, width, 3), Conv(width, width, 3), Conv(width, outputs, activation=False))
        self.boxes = nn.ModuleList(tower(c, 64, 64) for c in channels)
        self.classes = nn.ModuleList(tower(c, 80, classes) for c in channels)
        centres, strides = [], []
        for side, stride in ((80, 8), (40, 16), (20, 32)):
            grid = torch.arange(side) + 0.5
            y, x = torch.meshgrid(grid, grid, indexing="ij")
            centres.append(torch.stack((x, y)).flatten(1))
            strides.append(torch.full((side * side,), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1))
        self.register_buffer("strides", torch.cat(strides))
        self.register_buffer("bins", torch.arange(16.0).view(1, 16, 1, 1))

    def forward(self, levels):
        boxes = torch.cat([m(x).flatten(2) for m, x in zip(self.boxes, levels)], 2)
        scores = torch.cat([m(x).flatten(2) for m, x in zip(self.classes, levels)], 2)
        batch, _, anchors = boxes.shape
        distances = (boxes.view(batch, 4, 16, anchors).transpose(2, 1).softmax(1) * self.bins).sum(1)
        low, high = self.centres - distances[:, :2], self.centres + distances[:, 2:]
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * self.strides, scores.sigmoid()), 1)


class Yolov8n(nn.Module):
    def __init__(self, classes=80):
        super().__init__()
        down = lambda inputs, outputs: Conv(inputs, outputs, 3, 2)
        self.stem, self.d2, self.b2 = down(3, 16), down(16, 32), C2f(32, 32, 1, True)
        self.d3, self.b3 = down(32, 64), C2f(64, 64, 2, True)
        self.d4, self.b4 = down(64, 128), C2f(128, 128, 2, True)
        self.d5, self.b5, self.sppf = down(128, 256), C2f(256, 256, 1, True), Sppf(256)
        self.n4, self.n3 = C2f(384, 128), C2f(192, 64)
        self.e3, self.m4 = down(64, 64), C2f(192, 128)
        self.e4, self.m5 = down(128, 128), C2f(384, 256)
        self.head = Detect(classes, (64, 128, 256))

    def forward(self, x):
        up = lambda t: F.interpolate(t, scale_factor=2.0, mode="nearest")
        p3 = self.b3(self.d3(self.b2(self.d2(self.stem(x)))))
        p4 = self.b4(self.d4(p3))
        p5 = self.sppf(self.b5(self.d5(p4)))
        n4 = self.n4(torch.cat((up(p5), p4), 1))
        n3 = self.n3(torch.cat((up(n4), p3), 1))
        m4 = self.m4(torch.cat((self.e3(n3), n4), 1))
        m5 = self.m5(torch.cat((self.e4(m4), p5), 1))
        return self.head((n3, m4, m5))


def median_us(run, repetitions=200):
    for _ in range(5):
        run()
    times = []
    for _ in range(repetitions):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return sorted(times)[len(times) // 2]


def graph_us(function, x):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function(x)
    return median_us(graph.replay)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16")
    parser.add_argument("--without-compile", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    dtype = torch.half if options.precision == "fp16" else torch.float
    model = Yolov8n().eval().cuda().to(dtype).to(memory_format=torch.channels_last)
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    with torch.inference_mode():
        for batch in map(int, options.batches.split(",")):
            x = torch.rand(batch, 3, 640, 640, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
            ways = {"eager": median_us(lambda: model(x)), "CUDA graph": graph_us(model, x)}
            if not options.without_compile:
                torch._dynamo.reset()
                ways["torch.compile, CUDA graph"] = graph_us(torch.compile(model, dynamic=False), x)
            for name, us in ways.items():
                print(f"yolov8n {options.precision} batch {batch}: {us:.1f} us, {batch / us * 1e6:.0f} images/s, {name}",
                      flush=True)


if __name__ == "__main__":
    main()
