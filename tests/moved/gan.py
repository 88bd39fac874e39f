"""A DCGAN: weights_init by apply, in-place fills of labels, detach, two optimizers."""

import numpy as np
import torch
import torch.nn as nn
from torch.autograd import Variable

from moving import fixed

rng = np.random.default_rng(4)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.normal_(0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        torch.nn.init.normal_(m.weight, 1.0, 0.02)
        m.bias.data.fill_(0)


netG = nn.Sequential(
    nn.ConvTranspose2d(5, 8, 4, 1, 0, bias=False),
    nn.BatchNorm2d(8),
    nn.ReLU(True),
    nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
    nn.Tanh(),
)
netD = nn.Sequential(
    nn.Conv2d(3, 8, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(8, 1, 4, 1, 0, bias=False),
    nn.Sigmoid(),
)
for net in (netG, netD):
    net.apply(weights_init)
    fixed(net).double()
criterion = nn.BCELoss()
optD = torch.optim.Adam(netD.parameters(), lr=0.01, betas=(0.5, 0.999))
optG = torch.optim.Adam(netG.parameters(), lr=0.01, betas=(0.5, 0.999))
real_images = torch.from_numpy(rng.standard_normal((4, 3, 8, 8)))
losses = []
for _ in range(4):
    netD.zero_grad()
    label = torch.full((4,), 1, dtype=real_images.dtype)
    errD_real = criterion(netD(Variable(real_images)).view(-1), label)
    errD_real.backward()
    noise = torch.from_numpy(rng.standard_normal((4, 5, 1, 1)))
    fake = netG(noise)
    label.fill_(0.0)
    errD_fake = criterion(netD(fake.detach()).view(-1), label)
    errD_fake.backward()
    optD.step()
    netG.zero_grad()
    label.data.fill_(1.0)
    errG = criterion(netD(fake).view(-1), label)
    errG.backward()
    optG.step()
    losses += [errD_real.item() + errD_fake.item(), errG.item()]
