"""Derivatives: pure functions of inputs, outputs and (co)tangents."""
