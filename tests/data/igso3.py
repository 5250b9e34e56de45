#!/usr/bin/env python3
"""Regenerates the reference values of the isotropic Gaussian on rotations, IGSO(3):  python3 igso3.py > igso3.json

The sum over characters, as the literature states it, and nothing else, with 200 digits and as many terms as those need:
    f(w) = sum_l (2l+1) exp(-l(l+1) sigma^2/2) sin((l+1/2)w)/sin(w/2),    p(w) = f(w) (1 - cos w)/pi
"log_density" is log f, "slope" is (1/w) d log f/dw, "quantiles" are of the angle, "divergence" is the integral of p log f.
Needs mpmath.
"""
import json
from mpmath import mp, mpf, cos, exp, findroot, log, pi, quad, sin, sqrt

mp.dps = 200
DIGITS = 30


def characters(sigma):
    return range(int(sqrt(2 * (mp.dps + 10) * log(10)) / sigma) + 2)


def density(w, s):
    return sum((2 * l + 1) * exp(-mpf(l * (l + 1)) * s * s / 2) * sin((l + mpf(1) / 2) * w) for l in characters(s)) / sin(w / 2)


def derivative(w, s):
    h, total = mpf(1) / 2, mpf(0)
    for l in characters(s):
        a = l + h
        total += (2 * l + 1) * exp(-mpf(l * (l + 1)) * s * s / 2) * (a * cos(a * w) * sin(w / 2) - h * sin(a * w) * cos(w / 2))
    return total / sin(w / 2) ** 2


def cumulative(w, s):
    total = w - sin(w)
    for l in characters(s):
        if l:
            total += (2 * l + 1) * exp(-mpf(l * (l + 1)) * s * s / 2) * (sin(l * w) / l - sin((l + 1) * w) / (l + 1))
    return total / pi


def quantile(u, s):
    lo, hi = mpf(0), pi
    for _ in range(60):
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if cumulative(middle, s) < u else (lo, middle)
    w = (lo + hi) / 2
    for _ in range(2):
        w -= (cumulative(w, s) - u) * pi / (density(w, s) * (1 - cos(w)))
    return w


def divergence(s):
    edges = [pi * i / 16 for i in range(17)]
    with mp.workdps(30):
        return quad(lambda w: density(w, s) * log(density(w, s)) * (1 - cos(w)) / pi, edges)


def text(x):
    return mp.nstr(x, DIGITS)


def main():
    angles = ["1e-9", "1e-4", "0.0009", "0.0011", "0.01", "0.1", "0.2", "0.249", "0.251", "0.5", "1", "1.5", "2", "2.5", "3", "3.1", "3.141"]
    law, quantiles, divergences = [], [], []
    for sigma in ["0.02", "0.05", "0.1", "0.2", "0.3", "0.5", "0.79", "0.81", "1", "1.5", "2.02", "3", "6"]:
        s = mpf(float(sigma))
        for angle in angles:
            w = mpf(float(angle))
            f = density(w, s)
            if f < mpf(10) ** -150:
                continue
            law.append({"sigma": float(s), "angle": float(w), "log_density": text(log(f)), "slope": text(derivative(w, s) / f / w)})
        if sigma in ("0.02", "0.1", "0.5", "0.79", "0.81", "1", "1.5", "3"):
            with mp.workdps(40):
                for u in ["1e-12", "1e-6", "0.001", "0.1", "0.5", "0.9", "0.999", "0.999999"]:
                    quantiles.append({"sigma": float(s), "u": float(u), "angle": text(quantile(mpf(float(u)), s))})
        if sigma in ("0.5", "1", "1.5", "2.02", "3"):
            divergences.append({"sigma": float(s), "value": mp.nstr(divergence(s), 20)})
    print(json.dumps({"law": law, "quantiles": quantiles, "divergences": divergences}, indent=1))


main()
