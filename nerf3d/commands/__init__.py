"""What the commands do, as typed functions: `nerf3d.fit`, `nerf3d.film`, `nerf3d.mesh`, `nerf3d.evaluate`."""
