"""Scorers of the embedded models' world of drawn scenes: does a picture show what its prompt asks for, and how well?"""
