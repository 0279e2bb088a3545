#!/usr/bin/env bash
# Placeholder.
