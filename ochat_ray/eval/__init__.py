"""Evaluation: questions to answers, answers to judgments, judgments to figures and how sure they are."""
