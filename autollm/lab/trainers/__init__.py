"""How each family trains: a module of the family's name with `load` and `train`, see
`autollm.lab.spec.trainer`. All of them import torch.
"""
